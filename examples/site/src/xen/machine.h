#ifndef SITE_XEN_MACHINE_H
#define SITE_XEN_MACHINE_H

#include <stdint.h>

/* Single instructions that C has no word for. */

static inline void port_write(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t port_read(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline void cpuid(uint32_t leaf, uint32_t regs_r[4])
{
	__asm__ volatile("cpuid"
			 : "=a"(regs_r[0]), "=b"(regs_r[1]), "=c"(regs_r[2]), "=d"(regs_r[3])
			 : "a"(leaf), "c"(0));
}

static inline void msr_write(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

/* What another processor (or a backend domain) sees, it sees in the order of the program: x86 keeps stores in order,
 * the compiler must be told. */
static inline void barrier(void)
{
	__asm__ volatile("" : : : "memory");
}

/* What we wrote before is seen before what we read after. */
static inline void fence(void)
{
	__asm__ volatile("mfence" ::: "memory");
}

static inline uint64_t cycles(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static inline void halt(void)
{
	__asm__ volatile("hlt");
}

#endif
