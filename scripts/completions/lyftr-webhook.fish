# Completion of lyftr-webhook for fish; belongs in /usr/share/fish/vendor_completions.d.

complete -c lyftr-webhook -f
complete -c lyftr-webhook -n __fish_use_subcommand -s h -l help -d 'Print how it is used'
complete -c lyftr-webhook -n __fish_use_subcommand -s V -l version -d 'Print version, commit and SQLite version'
complete -c lyftr-webhook -n __fish_use_subcommand -a serve -d 'Run the service'
complete -c lyftr-webhook -n __fish_use_subcommand -a healthcheck -d 'Exit 0 if the service is ready'
complete -c lyftr-webhook -n __fish_use_subcommand -a sign -d 'Read a body from stdin, print its X-Signature'
complete -c lyftr-webhook -n __fish_use_subcommand -a backup -d 'Write a consistent copy of the database to a file'
complete -c lyftr-webhook -n __fish_use_subcommand -a restore -d 'Put a backup in the place of the database'
complete -c lyftr-webhook -n __fish_use_subcommand -a check -d 'See whether the database is sound'
complete -c lyftr-webhook -n __fish_use_subcommand -a export -d 'Write messages to stdout'
complete -c lyftr-webhook -n __fish_use_subcommand -a import -d 'Store messages from a file or stdin'
complete -c lyftr-webhook -n '__fish_seen_subcommand_from export' -l csv -d 'Comma-separated values'
complete -c lyftr-webhook -n '__fish_seen_subcommand_from export' -l from -x -d 'The sender'
complete -c lyftr-webhook -n '__fish_seen_subcommand_from export' -l since -x -d 'The earliest time'
complete -c lyftr-webhook -n '__fish_seen_subcommand_from export' -l q -x -d 'Part of the text'
complete -c lyftr-webhook -n __fish_use_subcommand -a erase -d 'Erase every message from a sender'
complete -c lyftr-webhook -n '__fish_seen_subcommand_from erase' -l sender -x -d 'The number, as it was sent'
complete -c lyftr-webhook -n '__fish_seen_subcommand_from erase' -l vacuum -d 'Write the file anew'
complete -c lyftr-webhook -n '__fish_seen_subcommand_from backup restore check import' -F
