complete -c fdbroker -l config -d 'Configuration file [default: /etc/fdbroker/fdbroker.toml if it exists and root starts it]' -r -F
complete -c fdbroker -l runtime-dir -d 'Directory of the sockets [default: /run/fdbroker as root, else $XDG_RUNTIME_DIR/fdbroker]' -r -f -a "(__fish_complete_directories)"
complete -c fdbroker -l rules -d 'Directory of *.yar and *.yara rules [default: /etc/fdbroker/rules.d if it exists]' -r -f -a "(__fish_complete_directories)"
complete -c fdbroker -l scanner-user -d 'User of the scanner, by name or number; only as root [default: nobody]' -r -f -a "(__fish_complete_users)"
complete -c fdbroker -l workers -d 'Workers that scan at once [default: what fdscand asks for, else one a processor]' -r
complete -c fdbroker -l watch-rules -d 'Load the rules again when their directory changes'
complete -c fdbroker -l spawn-scanner -d 'Start fdscand too, instead of waiting for one to connect'
complete -c fdbroker -l check-config -d 'Read the configuration as the broker would, say what is in force, and end'
complete -c fdbroker -s v -l verbose -d 'Log more; repeat for still more'
complete -c fdbroker -s h -l help -d 'Print help'
complete -c fdbroker -s V -l version -d 'Print version'
