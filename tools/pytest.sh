#!/bin/sh
# Run pytest; what fails is run once more, alone, and named. On a busy machine a packet or a process
# may be late; a defect fails twice, and then this fails.
#
#   tools/pytest.sh NAME PYTEST_ARGUMENT ...     from the top of the repository; NAME keeps runs apart
set -u

cache=build/pytest/$1
python=$PWD/.venv/bin/python
shift
rm -rf "$cache"
status=0
"$python" -m pytest -o cache_dir="$cache" "$@" || status=$?
[ "$status" = 1 ] || exit "$status"
printf '\033[1m==> %s\033[0m\n' "once more, alone: the tests that failed"
exec "$python" -m pytest -o cache_dir="$cache" "$@" --last-failed --verbose -n0
