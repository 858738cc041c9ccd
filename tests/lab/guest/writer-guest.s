# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# A guest that writes all the time, verifies, and notices a second writer of its disk. Boot sector, and four sectors of
# code at LBA 2.
#   LBA 1      number of the last write (4 bytes), mark of the writer (4), where another one was seen: its mark (4)
#   LBA 8-1031 the data: the sector of write N is 8 + N modulo 1024, and every dword in it is N
# Each start makes a mark of its own and puts it into LBA 1. Each step reads LBA 1 first: another mark, or another
# number than this guest wrote last, is a second writer, which is noted there and printed.
# The power button is obeyed slowly, as a real guest does: 18 more steps, then off.
# serial commands: q = power off at once, v = verify all
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
  cld
  mov [drv],dl
  mov dword ptr [dap+8],2
  mov word ptr [dap+2],4
  mov word ptr [dap+4],0x7e00
  mov ah,0x42
  call bios
  jc boot_err
  jmp stage2
boot_err:
  mov al,'E'
  call putc
  hlt
  jmp boot_err
bios:
  mov si,offset dap
  mov dl,[drv]
  int 0x13
  ret
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
  .word 1,0x8800,0
  .quad 1
.org 510
.word 0xaa55
stage2:
  mov dx,0x602           # PM1_EN: enable the power button
  mov ax,0x100
  out dx,ax
  rdtsc
  mov [mark],eax
  mov eax,1
  mov bx,0x8800
  call rd
  jc rerr
  mov eax,[0x8800]
  mov [seq],eax
  mov si,offset m_up
  call puts_seq
  call verify
  mov eax,[mark]
  mov [0x8804],eax
  mov eax,1
  mov bx,0x8800
  call wr
  jc werr
loop:
  mov cx,2               # timer ticks of 55 ms
0: hlt
  loop 0b
  mov dx,0x600           # PM1_STS
  in ax,dx
  test ax,0x100
  jz 1f
  cmp byte ptr [left],0
  jne 1f
  mov byte ptr [left],18
1: cmp byte ptr [left],0
  je 2f
  dec byte ptr [left]
  jz off
2: mov dx,0x3fd
  in al,dx
  test al,1
  jz step
  mov dx,0x3f8
  in al,dx
  cmp al,'q'
  je off
  cmp al,'v'
  jne step
  call verify
step:
  mov eax,1
  mov bx,0x8800
  call rd
  jc rerr
  mov eax,[0x8804]
  cmp eax,[mark]
  jne second
  mov eax,[0x8800]
  cmp eax,[seq]
  jne second
  inc dword ptr [seq]
  mov eax,[seq]
  mov di,0x8a00
  mov cx,128
  rep stosd
  call lba
  mov bx,0x8a00
  call wr
  jc werr
  mov eax,[seq]
  mov [0x8800],eax
  mov eax,1
  mov bx,0x8800
  call wr
  jc werr
  test dword ptr [seq],63
  jnz loop
  mov si,offset m_seq
  call puts_seq
  jmp loop
second:
  mov eax,[0x8804]
  mov [0x8808],eax
  mov eax,1
  mov bx,0x8800
  call wr
  mov si,offset m_second
  jmp say
werr:
  mov si,offset m_werr
  jmp say
rerr:
  mov si,offset m_rerr
say:
  call puts_seq
  mov cx,18
7: hlt
  loop 7b
  jmp loop
off:
  mov si,offset m_off
  call puts
  mov dx,0x604
  mov ax,0x2000
  out dx,ax
8: hlt
  jmp 8b
verify:
  mov word ptr [nbad],0
  mov eax,[seq]
  sub eax,1022           # the sector after the last number may have been written already
  jnc 1f
  xor eax,eax
1: mov [cur],eax
2: mov eax,[cur]
  test eax,eax           # write 0 never was
  jz 5f
  cmp eax,[seq]
  ja 4f
  call lba
  mov bx,0x8a00
  call rd
  jc 3f
  mov eax,[cur]
  mov di,0x8a00
  mov cx,128
  repe scasd
  je 5f
3: inc word ptr [nbad]
5: inc dword ptr [cur]
  jmp 2b
4: mov si,offset m_verified
  call puts
  movzx eax,word ptr [nbad]
  call hex
  mov si,offset m_at
puts_seq:                # a text, then the number of the last write
  call puts
  mov eax,[seq]
  call hex
  mov al,13
  call putc
  mov al,10
  jmp putc
lba:
  and eax,1023
  add eax,8
  ret
rd:
  mov cl,0x42
  jmp io
wr:
  mov cl,0x43
io:
  mov [dap+8],eax
  mov word ptr [dap+2],1 # the BIOS leaves there how many sectors it did
  mov [dap+4],bx
  mov ah,cl
  mov al,0
  jmp bios
puts:
  lodsb
  test al,al
  jz 9f
  call putc
  jmp puts
9: ret
hex:
  mov cx,8
8: rol eax,4
  push eax
  and al,15
  add al,'0'
  cmp al,'9'
  jbe 1f
  add al,39
1: call putc
  pop eax
  loop 8b
  ret
.align 4
seq: .long 0
mark: .long 0
cur: .long 0
nbad: .word 0
left: .byte 0
m_up: .asciz "WRITER-UP "
m_seq: .asciz "WRITER-AT "
m_second: .asciz "SECOND-WRITER "
m_werr: .asciz "WRITE-ERROR "
m_rerr: .asciz "READ-ERROR "
m_off: .asciz "WRITER-OFF\r\n"
m_verified: .asciz "VERIFIED bad="
m_at: .asciz " at "
.org 2560
