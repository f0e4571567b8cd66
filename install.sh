#!/bin/sh
# Installs git-credential-forge for the person who runs it, from the directory that this file lies in, else from the
# package index: `sh install.sh [--no-configure]`; again to upgrade; `sh install.sh --uninstall` takes all of it away.
# Needs python3 and git, no root.
set -eu

name=git-credential-forge
nl='
'

usage() {
  cat <<END
usage: sh install.sh [--no-configure | --uninstall]

  installs git-credential-forge for you, with a python environment of its own, and has git use it
  --no-configure    leave git's configuration alone
  --uninstall       take all of it away again
END
}

die() {
  printf 'install.sh: %s\n' "$1" >&2
  exit 1
}

short() { # a path as people type it
  case $1 in "$HOME"/*) printf '~%s' "${1#"$HOME"}" ;; *) printf %s "$1" ;; esac
}

main() {
  configure=yes uninstall=
  for option do
    case $option in
      --no-configure) configure= ;;
      --uninstall) uninstall=yes ;;
      -h | --help) usage; exit ;;
      *) usage >&2; exit 2 ;;
    esac
  done
  places
  if [ "$uninstall" ]; then uninstall; else install; fi
}

places() { # where everything goes
  case ${HOME-} in
    *"$nl"*) die "the path of your home has a line end in it, which git's configuration cannot take" ;;
    /*) [ -d "$HOME" ] || die "HOME is no directory: $HOME" ;;
    *) die "HOME is not set, so there is no place to install into" ;;
  esac
  # shellcheck disable=SC3067 # every sh has -O
  if [ "${SUDO_USER-}" ] && [ "$(id -u)" = 0 ] && ! [ -O "$HOME" ]; then
    die "sudo would make root the owner of files in your home: run it without sudo"
  fi
  data=$(xdg "${XDG_DATA_HOME-}" .local/share) config=$(xdg "${XDG_CONFIG_HOME-}" .config)
  cache=$(xdg "${XDG_CACHE_HOME-}" .cache)
  ours=$data/$name current=$data/$name/current # a link to the venv in use, so that paths outlive an upgrade
  launcher=$HOME/.local/bin/$name page=$HOME/.local/share/man/man1/$name.1 # where man looks beside ~/.local/bin
}

xdg() {
  case $1 in /*) printf %s "$1" ;; *) printf %s "$HOME/$2" ;; esac
}

# -- installing -------------------------------------------------------------------------------------------

install() {
  command -v git >/dev/null || die "git is missing: install it, then run this again"
  find_python
  if { [ -e "$launcher" ] || [ -L "$launcher" ]; } && ! is_ours "$launcher"; then
    die "$(short "$launcher") is there already and not from here (pipx, pip --user, uv?): uninstall that first"
  fi
  need_ensurepip
  absent=$(absent "$ours" "${launcher%/*}" "${page%/*}" "$config" "$cache")
  new='' before=$(readlink "$current" 2>/dev/null) || before=
  trap undo EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  mkdir -p "$ours" "${launcher%/*}" "${page%/*}" || die "nothing was installed"
  fill_venv
  use_venv
  trap - EXIT
  echo "installed $("$launcher" --version) in $(short "$ours")"
  have_git_use_it
  what_next
}

find_python() {
  old=
  for python in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
    command -v "$python" >/dev/null || continue
    "$python" -I -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && return
    [ "$old" ] || old=$("$python" -V 2>/dev/null) || old= # a shim with nothing behind it
  done
  [ -z "$old" ] || die "python 3.10 or newer is needed, and this is $old"
  die "python3 is missing: install it (3.10 or newer), then run this again"
}

need_ensurepip() { # Debian's python3 comes without it
  "$python" -I -c 'import ensurepip, venv' 2>/dev/null && return
  package=$python-venv sudo=
  if ! command -v apt-get >/dev/null; then
    die "this python lacks ensurepip: install the package that has it (often $package), then run this again"
  fi
  if [ "$(id -u)" != 0 ]; then
    sudo=sudo
    if ! command -v sudo >/dev/null || ! (: </dev/tty) 2>/dev/null; then
      die "this python lacks ensurepip, which is in the package $package: install it as root, then run this again"
    fi
  fi
  echo "installing the package $package, without which python cannot make an environment"
  [ -z "$sudo" ] || sudo -v || die "$package was not installed: do that as root, then run this again"
  apt install "$package" || { apt update && apt install "$package"; } >/dev/null 2>&1 || :
  "$python" -I -c 'import ensurepip, venv' 2>/dev/null ||
    die "apt-get could not install $package: do that as root, then run this again"
}

apt() (
  [ "$1" != install ] || set -- "$@" -y --no-install-recommends
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" </dev/null >/dev/null 2>&1
)

fill_venv() { # makes $new
  source=$(source_directory)
  echo "installing into $(short "$ours"), from ${source:-the package index}"
  new=$(mktemp -d "$ours/venv-XXXXXX")
  "$python" -I -m venv "$new" >"$new/log" 2>&1 </dev/null || die "python could not make an environment: $(last .)"
  [ "${PIP_CACHE_DIR-}" ] || export PIP_NO_CACHE_DIR=1 # nothing is left in ~/.cache
  export PIP_USER=0 PIP_RETRIES="${PIP_RETRIES-2}" PIP_DISABLE_PIP_VERSION_CHECK=1
  "$new/bin/python" -I -m pip install "${source:-$name}" >"$new/log" 2>&1 </dev/null || explain_pip
  "$new/bin/$name" --version >/dev/null || die "what was installed does not run"
  rm "$new/log"
}

source_directory() { # of this file, if the project lies there
  case $0 in */*) here=${0%/*} ;; *) here=. ;; esac
  here=$(CDPATH='' cd -- "$here" && pwd) || return 0
  [ "${0##*/}" = install.sh ] && grep -q "^name = \"$name\"" "$here/pyproject.toml" 2>/dev/null || return 0
  printf %s "$here"
}

last() { # the last line with $1 in it that a program said
  sed -n "/$1/s/^ *//p" "$new/log" | tail -n 1
}

explain_pip() {
  if grep -qi 'certificate.verify.failed' "$new/log"; then
    die "the package index has a certificate that is not trusted: set PIP_CERT to the right bundle, then run this again"
  fi
  if grep -q 'connection broken by\|Could not fetch URL' "$new/log"; then
    die "the package index cannot be reached: go online (behind a proxy, set https_proxy), then run this again"
  fi
  reason=$(last ERROR)
  die "pip could not install it: ${reason:-$(last .)}"
}

use_venv() { # from one moment to the next, also under the feet of a running git
  mkdir -p "$ours"
  { cat "$ours/made" 2>/dev/null || :; printf '%s\n' "$absent"; } | sort -u >"$new/made"
  mv -f "$new/made" "$ours/made"
  ln -s "${new##*/}" "$new/link"
  "$python" -I -c 'import os, sys; os.replace(*sys.argv[1:])' "$new/link" "$current"
  new=
  ln -sf "$current/bin/$name" "$launcher"
  { [ -e "$page" ] && ! is_ours "$page"; } || ln -sf "$current/share/man/man1/$name.1" "$page"
  [ -z "$before" ] || rm -rf "${ours:?}/$before"
}

undo() { # what did not come to its end
  status=$?
  [ -z "$new" ] || rm -rf "$new"
  [ -e "$current" ] || remove_made "$absent"
  exit "$status"
}

have_git_use_it() {
  [ "$configure" ] || return 0
  if git config --global --includes --get-regexp '^credential\..*helper$' "$name" >/dev/null 2>&1; then
    echo "git uses it as it is configured already"
  else # by the path of the link, which outlives an upgrade
    PATH=${launcher%/*}:$PATH "$launcher" configure ||
      die "it is installed, but git does not use it yet; when that is mended: $(short "$launcher") configure"
  fi
}

what_next() {
  typed="git credential-forge"
  # shellcheck disable=SC3013 # every sh has -ef
  if ! [ "$(command -v "$name" || :)" -ef "$launcher" ]; then
    typed=$(short "$launcher")
    echo "$(short "${launcher%/*}") is not on your PATH: type the program by its path, or add to your shell's profile"
    # shellcheck disable=SC2016 # for that file
    echo '    export PATH="$HOME/.local/bin:$PATH"'
  fi
  echo "what you can type now:"
  case $("$launcher" -h) in *credential-forge\ demo*) echo "    $typed demo" ;; esac
  [ "$configure" ] || echo "    $typed configure"
  echo "    $typed login https://codeberg.org"
  echo "    $typed -h"
}

# -- and back ---------------------------------------------------------------------------------------------

uninstall() {
  if ! [ -d "$ours" ]; then
    echo "nothing to take away: $name was not installed by install.sh"
    return
  fi
  "$current/bin/$name" unconfigure ||
    die "git's configuration was not restored, so nothing was taken away: run install.sh, then this again"
  forget
  for link in "$launcher" "$page"; do
    ! is_ours "$link" || rm -f "$link"
  done
  made=$(cat "$ours/made" 2>/dev/null) || made=
  rm -rf "$ours"
  remove_made "$made"
  stays=
  [ ! -e "$config/$name/gitconfig" ] || stays="; what register has kept stays in $(short "$config/$name/gitconfig")"
  echo "took away $name$stays"
}

forget() { # what is in memory, and the names beside it
  [ -d "$cache/$name" ] && ! [ -L "$cache/$name" ] || return 0
  "$current/bin/$name" logout --all || :
  [ ! -S "$cache/$name/socket" ] || git credential-cache --socket "$cache/$name/socket" exit || :
  rm -rf "${cache:?}/$name"
}

is_ours() {
  case $(readlink "$1" 2>/dev/null) in "$current"/*) true ;; *) false ;; esac
}

absent() { # which of these directories, and of those that they lie in, are not there
  for directory do
    while [ "$directory" ] && ! [ -e "$directory" ]; do
      printf '%s\n' "$directory"
      directory=${directory%/*}
    done
  done
}

remove_made() { # as far as nothing else has come to lie in them
  printf '%s\n' "$1" | sort -r | while IFS= read -r directory; do
    [ -z "$directory" ] || rmdir "$directory" 2>/dev/null || :
  done
}

{ main "$@"; }
