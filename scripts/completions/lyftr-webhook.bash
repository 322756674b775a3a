# Completion of lyftr-webhook for bash; belongs in /usr/share/bash-completion/completions/lyftr-webhook.

_lyftr_webhook() {
	local word=${COMP_WORDS[COMP_CWORD]}
	COMPREPLY=()
	if [ "$COMP_CWORD" = 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W 'serve healthcheck sign backup restore check export import erase remap follow --help --version' -- "$word")
	elif [[ ${COMP_WORDS[1]} = @(backup|restore|check|import|remap) && $COMP_CWORD = 2 ]]; then
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
	elif [ "${COMP_WORDS[1]}" = export ]; then
		mapfile -t COMPREPLY < <(compgen -W '--csv --from --since --q --whatsapp --unmapped' -- "$word")
	elif [ "${COMP_WORDS[1]}" = follow ]; then
		case ${COMP_WORDS[COMP_CWORD - 1]} in
		--state | --dead-letters | --from-file)
			compopt -o filenames 2>/dev/null
			mapfile -t COMPREPLY < <(compgen -f -- "$word")
			;;
		--exec) mapfile -t COMPREPLY < <(compgen -c -- "$word") ;;
		--from) mapfile -t COMPREPLY < <(compgen -W 'beginning now' -- "$word") ;;
		--url | --batch | --name | --timeout | --attempts | --post) ;;
		*) mapfile -t COMPREPLY < <(compgen -W '--url --state --from --batch --name --timeout --attempts --dead-letters --original --from-file --post --exec' -- "$word") ;;
		esac
	elif [ "${COMP_WORDS[1]}" = erase ]; then
		mapfile -t COMPREPLY < <(compgen -W '--sender --vacuum' -- "$word")
	fi
}

complete -F _lyftr_webhook lyftr-webhook
