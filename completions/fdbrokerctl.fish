# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_fdbrokerctl_global_optspecs
    string join \n runtime-dir= json h/help V/version
end

function __fish_fdbrokerctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_fdbrokerctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_fdbrokerctl_using_subcommand
    set -l cmd (__fish_fdbrokerctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c fdbrokerctl -n "__fish_fdbrokerctl_needs_command" -l runtime-dir -d 'Runtime directory of the broker [default: /run/fdbroker, else $XDG_RUNTIME_DIR/fdbroker]' -r -f -a "(__fish_complete_directories)"
complete -c fdbrokerctl -n "__fish_fdbrokerctl_needs_command" -l json -d 'Answer with one JSON object'
complete -c fdbrokerctl -n "__fish_fdbrokerctl_needs_command" -s h -l help -d 'Print help'
complete -c fdbrokerctl -n "__fish_fdbrokerctl_needs_command" -s V -l version -d 'Print version'
complete -c fdbrokerctl -n "__fish_fdbrokerctl_needs_command" -f -a "status" -d 'Show processes, rules, load, counts and the last errors'
complete -c fdbrokerctl -n "__fish_fdbrokerctl_needs_command" -f -a "metrics" -d 'Tell counts and states in the format of Prometheus'
complete -c fdbrokerctl -n "__fish_fdbrokerctl_needs_command" -f -a "ping" -d 'Check that the EICAR test file is found and another file judged; needs no privileges'
complete -c fdbrokerctl -n "__fish_fdbrokerctl_needs_command" -f -a "reload" -d 'Read the rules again; bad ones change nothing'
complete -c fdbrokerctl -n "__fish_fdbrokerctl_needs_command" -f -a "self-test" -d 'Check that scanning works, that the processes are confined, and that what they must not do fails'
complete -c fdbrokerctl -n "__fish_fdbrokerctl_needs_command" -f -a "explain" -d 'Say whether and why a user may have a path scanned, without scanning'
complete -c fdbrokerctl -n "__fish_fdbrokerctl_using_subcommand status" -l watch -d 'Show it again every so many seconds (1 to 3600), 2 if none are given' -r
complete -c fdbrokerctl -n "__fish_fdbrokerctl_using_subcommand status" -l runtime-dir -d 'Runtime directory of the broker [default: /run/fdbroker, else $XDG_RUNTIME_DIR/fdbroker]' -r -f -a "(__fish_complete_directories)"
complete -c fdbrokerctl -n "__fish_fdbrokerctl_using_subcommand status" -l json -d 'Answer with one JSON object'
complete -c fdbrokerctl -n "__fish_fdbrokerctl_using_subcommand status" -s h -l help -d 'Print help'
complete -c fdbrokerctl -n "__fish_fdbrokerctl_using_subcommand metrics" -l output -d 'Replace FILE, as for the textfile collector of node_exporter' -r -F
complete -c fdbrokerctl -n "__fish_fdbrokerctl_using_subcommand metrics" -l runtime-dir -d 'Runtime directory of the broker [default: /run/fdbroker, else $XDG_RUNTIME_DIR/fdbroker]' -r -f -a "(__fish_complete_directories)"
complete -c fdbrokerctl -n "__fish_fdbrokerctl_using_subcommand metrics" -l json -d 'Answer with one JSON object'
complete -c fdbrokerctl -n "__fish_fdbrokerctl_using_subcommand metrics" -s h -l help -d 'Print help'
complete -c fdbrokerctl -n "__fish_fdbrokerctl_using_subcommand ping" -l timeout -d 'Give up after this time (1 to 3600)' -r
complete -c fdbrokerctl -n "__fish_fdbrokerctl_using_subcommand ping" -l runtime-dir -d 'Runtime directory of the broker [default: /run/fdbroker, else $XDG_RUNTIME_DIR/fdbroker]' -r -f -a "(__fish_complete_directories)"
complete -c fdbrokerctl -n "__fish_fdbrokerctl_using_subcommand ping" -l json -d 'Answer with one JSON object'
complete -c fdbrokerctl -n "__fish_fdbrokerctl_using_subcommand ping" -s h -l help -d 'Print help'
complete -c fdbrokerctl -n "__fish_fdbrokerctl_using_subcommand reload" -l runtime-dir -d 'Runtime directory of the broker [default: /run/fdbroker, else $XDG_RUNTIME_DIR/fdbroker]' -r -f -a "(__fish_complete_directories)"
complete -c fdbrokerctl -n "__fish_fdbrokerctl_using_subcommand reload" -l json -d 'Answer with one JSON object'
complete -c fdbrokerctl -n "__fish_fdbrokerctl_using_subcommand reload" -s h -l help -d 'Print help'
complete -c fdbrokerctl -n "__fish_fdbrokerctl_using_subcommand self-test" -l runtime-dir -d 'Runtime directory of the broker [default: /run/fdbroker, else $XDG_RUNTIME_DIR/fdbroker]' -r -f -a "(__fish_complete_directories)"
complete -c fdbrokerctl -n "__fish_fdbrokerctl_using_subcommand self-test" -l json -d 'Answer with one JSON object'
complete -c fdbrokerctl -n "__fish_fdbrokerctl_using_subcommand self-test" -s h -l help -d 'Print help'
complete -c fdbrokerctl -n "__fish_fdbrokerctl_using_subcommand explain" -l runtime-dir -d 'Runtime directory of the broker [default: /run/fdbroker, else $XDG_RUNTIME_DIR/fdbroker]' -r -f -a "(__fish_complete_directories)"
complete -c fdbrokerctl -n "__fish_fdbrokerctl_using_subcommand explain" -l json -d 'Answer with one JSON object'
complete -c fdbrokerctl -n "__fish_fdbrokerctl_using_subcommand explain" -s h -l help -d 'Print help'
