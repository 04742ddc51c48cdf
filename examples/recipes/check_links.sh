#!/bin/sh
# Shell: which of these URLs work? Reads URLs, prints a status for each; exits 1 if one fails.
#
#     check_links.sh < URLS
#
# Safe with strangers' URLs: the gateway refuses what leads to a private network.
failed=0
while read -r url; do
    if code=$(zurl-py head "$url" --silent --location --max-time 10 --fail \
        --output /dev/null --write-out '%{http_code}'); then
        echo "$code $url"
    else
        case $? in
            22) why="status $code" ;;
            120) why="refused" ;;
            121) echo "check_links.sh: no gateway" >&2; exit 2 ;;
            *) why="no answer" ;;
        esac
        echo "FAILED $url ($why)"
        failed=1
    fi
done
exit $failed
