// A modal on the browser's own <dialog>: focus stays inside, Escape closes it.

import { type ReactElement, type ReactNode, useEffect, useLayoutEffect, useRef } from "react";

export function Dialog({ label, onClose, children, className = "", at }: { label: string; onClose: () => void; children: ReactNode; className?: string; at?: { x: number; y: number } | undefined }): ReactElement {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const one = box.current!;
    if (!one.open) one.showModal();
    return () => one.close();
  }, []);
  // Beside a place of the screen, and never beyond the border.
  useLayoutEffect(() => {
    const one = box.current!;
    if (at === undefined) return;
    one.style.margin = "0";
    one.style.left = `${Math.max(8, Math.min(at.x, innerWidth - one.offsetWidth - 8))}px`;
    one.style.top = `${Math.max(8, Math.min(at.y, innerHeight - one.offsetHeight - 8))}px`;
  }, [at]);
  return (
    <dialog
      ref={box}
      aria-label={label}
      className={className}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => event.target === box.current && onClose()}
      onKeyDown={(event) => event.stopPropagation()}
    >
      {children}
    </dialog>
  );
}
