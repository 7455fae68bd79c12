/**
 * Node answers SIGUSR1 with a debugger on loopback, which runs any code as root for whoever of the host connects. A
 * listener takes its place. main.ts imports this file first; Node's option --disable-sigusr1 covers the moment until then.
 */
process.on('SIGUSR1', () => {});

export {};
