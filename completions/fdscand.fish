complete -c fdscand -l runtime-dir -d 'Directory with the broker\'s socket' -r -f -a "(__fish_complete_directories)"
complete -c fdscand -l workers -d 'Workers at most; 0 leaves it to the broker' -r
complete -c fdscand -s v -l verbose -d 'Say more; twice for everything'
complete -c fdscand -s h -l help -d 'Print help'
complete -c fdscand -s V -l version -d 'Print version'
