// Waits until it is told to end; as PID 1 it has no default action for signals.
#include <signal.h>
#include <unistd.h>

static void end(int signal)
{
	_exit(signal == SIGTERM || signal == SIGINT ? 0 : 1);
}

int main(void)
{
	signal(SIGTERM, end);
	signal(SIGINT, end);
	for (;;)
		pause();
}
