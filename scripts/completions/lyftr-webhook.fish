# Completion of lyftr-webhook for fish; belongs in /usr/share/fish/vendor_completions.d.

complete -c lyftr-webhook -f
complete -c lyftr-webhook -n __fish_use_subcommand -s h -l help -d 'Print how it is used'
complete -c lyftr-webhook -n __fish_use_subcommand -s V -l version -d 'Print version, commit and SQLite version'
complete -c lyftr-webhook -n __fish_use_subcommand -a serve -d 'Run the service'
complete -c lyftr-webhook -n __fish_use_subcommand -a healthcheck -d 'Exit 0 if the service is ready'
complete -c lyftr-webhook -n __fish_use_subcommand -a sign -d 'Read a body from stdin, print its X-Signature'
complete -c lyftr-webhook -n __fish_use_subcommand -a backup -d 'Write a consistent copy of the database to a file'
complete -c lyftr-webhook -n '__fish_seen_subcommand_from backup' -F
