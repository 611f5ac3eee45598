/* A known call tree: main -> descend (8 deep) -> 70 % seventy, 20 % twenty, 10 % ten -> burn. */
#include <stdint.h>
#include <stdlib.h>

volatile uint64_t sink;

__attribute__((noinline)) void burn(uint64_t rounds)
{
	uint64_t x = sink;

	for (uint64_t i = 0; i < rounds; i++)
		x = x * 6364136223846793005u + 1442695040888963407u;
	sink = x;
	__asm__ volatile("" ::: "memory"); /* no tail call into here */
}

__attribute__((noinline)) void seventy(void)
{
	burn(700000);
	sink++;
}

__attribute__((noinline)) void twenty(void)
{
	burn(200000);
	sink++;
}

__attribute__((noinline)) void ten(void)
{
	burn(100000);
	sink++;
}

__attribute__((noinline)) void work(void)
{
	seventy();
	twenty();
	ten();
	sink++;
}

__attribute__((noinline)) int descend(int depth)
{
	char room[64];

	room[depth] = (char)depth;
	__asm__ volatile("" : : "r"(room) : "memory");
	if (depth == 0)
		work();
	else
		descend(depth - 1);
	return room[depth] + depth;
}

int main(void)
{
	for (;;)
		descend(7);
}
