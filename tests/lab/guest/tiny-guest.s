# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# A guest in one boot sector, for tests: ready in a tenth of a second, keeps a boot counter in LBA 1 of its disk,
# prints on COM1, idles with HLT (0 % CPU), obeys the ACPI power button (QMP system_powerdown).
# serial commands: q = power off, r = reset, s = print sector marker, i = re-increment + write, other = echo
.intel_syntax noprefix
.code16
.globl _start
_start:
  cli
  xor ax,ax
  mov ds,ax
  mov es,ax
  mov ss,ax
  mov sp,0x7c00
  sti
  mov [drv],dl
  mov si,offset m_up
  call puts
  call bump
main:
  mov dx,0x602           # PM1_EN: enable power button
  mov ax,0x100
  out dx,ax
loop:
  hlt                    # woken by the 18.2 Hz timer
  mov dx,0x600
  in ax,dx
  test ax,0x100
  jnz pwr
  mov dx,0x3fd
  in al,dx
  test al,1
  jz loop
  mov dx,0x3f8
  in al,dx
  cmp al,'q'
  je off
  cmp al,'r'
  je rst
  cmp al,'i'
  jne 1f
  call bump
  jmp loop
1: cmp al,'s'
  jne 2f
  mov si,0x8010
  call puts
  jmp loop
2: call putc
  jmp loop
pwr:
  mov si,offset m_pwr
  call puts
off:
  mov si,offset m_off
  call puts
  mov dx,0x604
  mov ax,0x2000
  out dx,ax
  jmp loop
rst:
  mov dx,0xcf9
  mov al,6
  out dx,al
  jmp loop
bump:                    # read LBA1, increment counter, write back, print
  mov ah,0x42
  call disk
  jc derr
  inc word ptr [0x8000]
  mov ax,0x4300
  call disk
  jc werr
  mov si,offset m_rdy
  call puts
  mov bx,[0x8000]
  mov cx,4
3: rol bx,4
  mov al,bl
  and al,15
  add al,'0'
  cmp al,'9'
  jbe 4f
  add al,39
4: call putc
  loop 3b
  mov si,offset m_mk
  call puts
  mov si,0x8010
  call puts
  mov si,offset m_nl
  jmp puts
derr:
  mov si,offset m_derr
  jmp puts
werr:
  mov si,offset m_werr
  jmp puts
disk:
  mov si,offset dap
  mov word ptr [si+2],1  # the BIOS leaves there how many sectors it did: none after an error
  mov dl,[drv]
  int 0x13
  ret
puts:
  lodsb
  test al,al
  jz 5f
  call putc
  jmp puts
5: ret
putc:
  push dx
  push ax
6: mov dx,0x3fd
  in al,dx
  test al,0x20
  jz 6b
  pop ax
  mov dx,0x3f8
  out dx,al
  pop dx
  ret
drv: .byte 0
.align 4
dap: .byte 16,0
  .word 1,0x8000,0
  .quad 1
m_up: .asciz "GUEST-UP\r\n"
m_rdy: .asciz "GUEST-READY boots="
m_mk: .asciz " disk="
m_nl: .asciz "\r\n"
m_pwr: .asciz "GUEST-POWERBUTTON\r\n"
m_off: .asciz "GUEST-OFF\r\n"
m_derr: .asciz "GUEST-READ-ERROR\r\n"
m_werr: .asciz "GUEST-WRITE-ERROR\r\n"
.org 510
.word 0xaa55
