complete -c fdscan -l runtime-dir -d 'Ask the broker of this runtime directory and no other' -r -f -a "(__fish_complete_directories)"
complete -c fdscan -l files-from -d 'Scan the files and directories named in FILE, one a line; "-" is standard input' -r -F
complete -c fdscan -l exclude -d 'Skip what GLOB matches: a name, or a whole path if GLOB has a "/"; may be repeated' -r
complete -c fdscan -l max-filesize -d 'Report larger files as incomplete; as 100, 10K, 25M, 2G' -r
complete -c fdscan -l timeout -d 'Give a file up after this time (1 to 3600); a broker that went away is waited for as long, and for 30 seconds at most' -r
complete -c fdscan -l color -d 'Colour the words FOUND, OK and so on' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c fdscan -l rules -d 'Use the rules in DIR, with a private broker' -r -f -a "(__fish_complete_directories)"
complete -c fdscan -l json -d 'Write one JSON object a line'
complete -c fdscan -s i -l infected -d 'Print only files that match; what could not be scanned goes to standard error'
complete -c fdscan -s 0 -l null -d 'Names in --files-from end in NUL, not in newline'
complete -c fdscan -l one-file-system -d 'Stay on the file system of each PATH'
complete -c fdscan -s L -l follow -d 'Follow symbolic links inside directories'
complete -c fdscan -s s -l print-strings -d 'Tell where patterns matched: offset, length, pattern and the first 64 bytes'
complete -c fdscan -s m -l print-meta -d 'Tell the metadata of the rules that matched'
complete -c fdscan -s g -l print-tags -d 'Tell the tags of the rules that matched'
complete -c fdscan -l hash -d 'Tell the SHA-256 of each file that was read whole'
complete -c fdscan -s q -l quiet -d 'Print nothing; what could not be scanned goes to standard error, all else is the exit status'
complete -c fdscan -s v -l verbose -d 'Say on standard error who serves the scan, with which rules; with all of --verbose-errors'
complete -c fdscan -l verbose-errors -d 'Say on standard error what can be done about each file that could not be scanned'
complete -c fdscan -l no-progress -d 'Do not show how far a long scan is, which is shown if standard error is a terminal'
complete -c fdscan -l no-summary -d 'Print no summary'
complete -c fdscan -l granted -d 'Scan beneath trees that the administrator has granted you, also what you cannot read; no symbolic link is followed, in no part of PATH'
complete -c fdscan -l private -d 'Start a private broker even if another one listens'
complete -c fdscan -s h -l help -d 'Print help (see more with \'--help\')'
complete -c fdscan -s V -l version -d 'Print version'
