# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that collects metrics of a host's VMs, for role metrics. It runs without Ansible."""
