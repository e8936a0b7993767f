// A modal on the browser's own <dialog>: focus stays inside, Escape closes it.

import { type ReactElement, type ReactNode, useEffect, useRef } from "react";

export function Dialog({ label, onClose, children, className = "" }: { label: string; onClose: () => void; children: ReactNode; className?: string }): ReactElement {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const one = box.current!;
    if (!one.open) one.showModal();
    return () => one.close();
  }, []);
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
