/* From the loader to C. A PVH loader (Xen, or QEMU's -kernel) finds the 32-bit entry by the ELF note, and jumps there in
 * protected mode without paging, interrupts off, %ebx pointing to the start info.
 *  src  Xen's docs/misc/pvh.pandoc; Intel SDM volume 3, 10.8.5 (entering IA-32e mode) */

#define NOTE_PHYS32_ENTRY 18
#define PAGE 4096
#define STACK 65536

#define PTE_TABLE 0x003 /* present, writable */
#define PTE_LARGE 0x083 /* and 2 MiB at once */
#define CR0_PG_WP_MP 0x80010002
#define CR0_EM_TS 0x0000000c
#define CR4_PAE 0x00000020
#define MSR_EFER 0xc0000080
#define EFER_LME 0x00000100

#define CODE_SELECTOR 8
#define DATA_SELECTOR 16

	.section .note.xen, "a", @note
	.balign 4
	.long name_end - name, 4, NOTE_PHYS32_ENTRY
name:
	.asciz "Xen"
name_end:
	.balign 4
	.long entry

	.section .text.entry, "ax", @progbits
	.code32
	.globl entry
entry:
	cld
	movl	$stack_end, %esp

	/* The first 4 GiB as they are, in pages of 2 MiB: four page directories in a row. */
	xorl	%ecx, %ecx
large:	movl	%ecx, %eax
	shll	$21, %eax
	orl	$PTE_LARGE, %eax
	movl	%eax, directories(, %ecx, 8)
	incl	%ecx
	cmpl	$4 * 512, %ecx
	jne	large
	xorl	%ecx, %ecx
table:	movl	%ecx, %eax
	shll	$12, %eax
	addl	$directories + PTE_TABLE, %eax
	movl	%eax, directory_pointers(, %ecx, 8)
	incl	%ecx
	cmpl	$4, %ecx
	jne	table
	movl	$directory_pointers + PTE_TABLE, page_map
	movl	$page_map, %eax
	movl	%eax, %cr3

	movl	%cr4, %eax
	orl	$CR4_PAE, %eax
	movl	%eax, %cr4
	movl	$MSR_EFER, %ecx
	rdmsr
	orl	$EFER_LME, %eax
	wrmsr
	movl	%cr0, %eax
	andl	$~CR0_EM_TS, %eax
	orl	$CR0_PG_WP_MP, %eax
	movl	%eax, %cr0
	lgdt	gdt_register
	ljmp	$CODE_SELECTOR, $long_mode

	.code64
long_mode:
	movl	$DATA_SELECTOR, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	xorl	%ebp, %ebp
	movl	%ebx, %edi
	call	start
	ud2

	/* One stub an exception; those for which the processor pushes no error code push a nought, so that trap() finds
	 * the same things everywhere: vector, error, address. */
	.section .text, "ax", @progbits
	.altmacro
	.macro stub vector
	.balign 16
stub_\vector:
	.if !(\vector == 8 || (\vector >= 10 && \vector <= 14) || \vector == 17 || \vector == 21 || \vector >= 29 && \vector <= 30)
	pushq	$0
	.endif
	pushq	$\vector
	jmp	trapped
	.endm
	.balign 16
	.globl trap_stubs
trap_stubs:
	.set i, 0
	.rept 32
	stub	%i
	.set i, i + 1
	.endr
trapped:
	popq	%rdi
	popq	%rsi
	movq	(%rsp), %rdx
	andq	$-16, %rsp
	cld
	call	trap
	ud2

	.section .rodata
	.balign 8
gdt:
	.quad 0
	.quad 0x00af9b000000ffff /* code, 64 bit */
	.quad 0x00cf93000000ffff /* data */
gdt_register:
	.word gdt_register - gdt - 1
	.long gdt

	.bss
	.balign PAGE
	.globl hypercall_page
hypercall_page:
	.skip PAGE
page_map:
	.skip PAGE
directory_pointers:
	.skip PAGE
directories:
	.skip 4 * PAGE
	.skip STACK
stack_end:
	.section .note.GNU-stack, "", @progbits
