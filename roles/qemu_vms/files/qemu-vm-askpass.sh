#!/bin/sh
# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# ssh-add runs this to ask for the passphrase of a key (ssh-add(1), SSH_ASKPASS); it stands in a credential.
# A wrong one would be asked for again and again: there is only one answer.
case $1 in
Bad*) exit 1 ;;
*) exec cat "$QEMU_VM_PASSPHRASE" ;;
esac
