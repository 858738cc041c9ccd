# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that are shipped as text and run alone: they import nothing of the collection."""
