export { SIGKILL, SIGTERM, signalFromCri, signalFromName, signalToCri, stopSignal } from '../model/signals.ts';
