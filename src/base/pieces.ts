/** How long the pieces are in which blobs are handed on, but for the last one of each. */
export const pieceBytes = 256 * 1024;

/** As many as are on their way to one worker: more would be kept for nobody. */
const mostSpare = 8;
const spare: ArrayBuffer[] = [];

/** Memory of a piece, with whatever was in it. */
export const takePiece = (): Buffer<ArrayBuffer> => {
  const memory = spare.pop();
  return memory ? Buffer.from(memory) : Buffer.allocUnsafeSlow(pieceBytes);
};

/** Gives memory back that nobody looks at any more: a piece's is filled again, any other is freed. */
export function givePiece(memory: ArrayBuffer): void {
  if (memory.byteLength === pieceBytes && spare.length < mostSpare) spare.push(memory);
  else memory.transfer(0);
}

/** Frees what is kept to be filled again. */
export const dropPieces = (): void => void spare.splice(0);
