/** Does a part of the work and prints how long it took. */
export async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  const begin = performance.now();
  const result = await work();
  console.log(`${`${(performance.now() - begin).toFixed(0)} ms`.padStart(10)}  ${what}`);
  return result;
}
