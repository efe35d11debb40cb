/*
 * Preloaded into User Mode Linux on processors whose register state is larger than it knows.
 *
 * User Mode Linux up to 6.12 keeps 2696 bytes of a process's XSAVE area (enough for AVX-512) and
 * writes them back by PTRACE_SETREGSET. A processor with AMX has 11 KB, and the host's kernel takes
 * the whole area or nothing (EFAULT, xstateregs_set in arch/x86/kernel/fpu/regset.c): the first
 * process of the guest dies. Here a short write becomes: read the whole, replace the beginning,
 * write the whole. Nothing in the guest uses what lies behind it.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static long set_extended_state(pid_t pid, void *type, struct iovec *given)
{
	static char area[1 << 16];
	struct iovec whole = {area, sizeof area};

	if (syscall(SYS_ptrace, PTRACE_GETREGSET, pid, type, &whole) < 0)
		return -1;
	if (given->iov_len >= whole.iov_len)
		return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, type, given);
	memcpy(area, given->iov_base, given->iov_len);
	return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, type, &whole);
}

/* The C library's ptrace(2), which returns what it peeked; the system call writes it to data. */
long ptrace(enum __ptrace_request request, ...)
{
	va_list rest;
	va_start(rest, request);
	pid_t pid = va_arg(rest, pid_t);
	void *address = va_arg(rest, void *);
	void *data = va_arg(rest, void *);
	va_end(rest);

	if (request == PTRACE_SETREGSET && address == (void *)NT_X86_XSTATE)
		return set_extended_state(pid, address, data);
	if (request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER) {
		long word = 0;
		if (syscall(SYS_ptrace, request, pid, address, &word) < 0)
			return -1;
		errno = 0;
		return word;
	}
	return syscall(SYS_ptrace, request, pid, address, data);
}
