# The keeper of one private PostgreSQL server; see the package comment.
#   $1       temporary folder to make now and to remove at the end, or empty
#   $2       signal that stops the server when its owner has died: INT or QUIT
#   stdin    life line: ends when the owner is gone; carries single-line commands
#              stopped PID..   processes that the owner is about to freeze
#              orderly         the owner has stopped the server by itself
#   fd 3     ends when the owner and every process of the server are gone
#   stdout   two lines: "ready" when the folder is there, "gone" when fd 3 has ended
trap '' HUP INT QUIT TERM PIPE # PIPE: the owner may be gone before it hears that this is ready
if [ -n "$1" ]; then
	mkdir -m 700 -- "$1" || exit 1
fi
echo ready
exec 4>&1 >/dev/null 2>&1

stopped=
orderly=
while read -r word rest; do
	case $word in
	stopped) stopped=$rest ;;
	orderly) orderly=yes ;;
	esac
done

nudge=
if [ -z "$orderly" ]; then
	# shellcheck disable=SC2086 # a list of process ids
	[ -n "$stopped" ] && kill -CONT $stopped
	# Again and again, because a process that was just started may lose the
	# first signal. After 30 s there is no more politeness.
	(
		n=0
		while :; do
			if [ "$n" -lt 30 ]; then kill -"$2" 0; else kill -QUIT 0; fi
			n=$((n + 1))
			sleep 1
		done
	) &
	nudge=$!
fi
cat <&3 >/dev/null
echo gone >&4
[ -n "$nudge" ] && kill -KILL "$nudge"
[ -n "$1" ] && rm -rf -- "$1"
exit 0
