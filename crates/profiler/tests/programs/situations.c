/* Stacks in unusual places: `situations WHERE` stays in one of them, each below the same three callers. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

volatile uint64_t sink;

#define KEEP_FRAME __asm__ volatile("" ::: "memory")

__attribute__((noinline)) void burn(uint64_t rounds)
{
	uint64_t x = sink;

	for (uint64_t i = 0; i < rounds; i++)
		x = x * 6364136223846793005u + 1442695040888963407u;
	sink = x;
}

__attribute__((noinline)) void in_handler(int signal)
{
	(void)signal;
	burn(2000000);
	KEEP_FRAME;
}

__attribute__((noinline)) void interrupted(void)
{
	raise(SIGUSR1);
	KEEP_FRAME;
}

__attribute__((noinline)) void in_syscall(void)
{
	static char bytes[1 << 20];
	static int zero = -1;

	if (zero < 0)
		zero = open("/dev/zero", O_RDONLY);
	sink += (uint64_t)read(zero, bytes, sizeof(bytes));
	KEEP_FRAME;
}

__attribute__((noinline)) void in_vdso(void)
{
	struct timespec now;

	for (int i = 0; i < 10000; i++)
		clock_gettime(CLOCK_MONOTONIC, &now);
	sink += (uint64_t)now.tv_nsec;
	KEEP_FRAME;
}

/* A frame whose size is not known when compiling: the CFA is relative to rbp. */
__attribute__((noinline)) void in_alloca(unsigned size)
{
	char *room = __builtin_alloca(size);

	memset(room, (int)size, size);
	burn(100000);
	sink += (uint64_t)room[size / 2];
	KEEP_FRAME;
}

static int compare(const void *a, const void *b)
{
	burn(200);
	return (*(const unsigned *)a > *(const unsigned *)b) - (*(const unsigned *)a < *(const unsigned *)b);
}

__attribute__((noinline)) void in_callback(void)
{
	unsigned numbers[256];

	for (unsigned i = 0; i < 256; i++)
		numbers[i] = i * 2654435761u;
	qsort(numbers, 256, sizeof(numbers[0]), compare);
	sink += numbers[7];
	KEEP_FRAME;
}

__attribute__((noinline)) void deep(unsigned depth)
{
	if (depth == 0)
		burn(500000);
	else
		deep(depth - 1);
	sink++;
	KEEP_FRAME;
}

__attribute__((noinline)) void in_child(void)
{
	pid_t child = fork();

	if (child == 0) {
		burn(3000000);
		KEEP_FRAME;
		_exit(0);
	}
	waitpid(child, NULL, 0);
	KEEP_FRAME;
}

static void *thread(void *argument)
{
	for (;;) {
		burn(500000);
		usleep(20000);
	}
	return argument;
}

__attribute__((noinline)) void in_threads(void)
{
	pthread_t threads[64];

	for (int i = 0; i < 64; i++)
		pthread_create(&threads[i], NULL, thread, NULL);
	pthread_join(threads[0], NULL);
}

__attribute__((noinline)) void third(const char *where)
{
	if (!strcmp(where, "handler"))
		interrupted();
	else if (!strcmp(where, "syscall"))
		in_syscall();
	else if (!strcmp(where, "vdso"))
		in_vdso();
	else if (!strcmp(where, "alloca"))
		in_alloca(1000 + (unsigned)sink % 64);
	else if (!strcmp(where, "callback"))
		in_callback();
	else if (!strcmp(where, "deep"))
		deep(300);
	else if (!strcmp(where, "bottomless"))
		deep(3000);
	else if (!strcmp(where, "child"))
		in_child();
	else if (!strcmp(where, "threads"))
		in_threads();
	else
		abort();
	KEEP_FRAME;
}

__attribute__((noinline)) void second(const char *where)
{
	third(where);
	KEEP_FRAME;
}

__attribute__((noinline)) void first(const char *where)
{
	second(where);
	KEEP_FRAME;
}

int main(int count, char **arguments)
{
	if (count != 2)
		return 2;
	signal(SIGUSR1, in_handler);
	for (;;)
		first(arguments[1]);
}
