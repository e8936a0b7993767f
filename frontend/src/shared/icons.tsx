// The icons that the registry names, and those of the editor itself. Each import is one small path; the rest of the set is
// left out of the bundle.

import {
  AlignHorizontalJustifyCenter,
  AlignVerticalJustifyCenter,
  Bell,
  Bot,
  Box,
  Braces,
  Clock,
  Code,
  Copy,
  Globe,
  History,
  Keyboard,
  LayoutGrid,
  List,
  ListChecks,
  type LucideIcon,
  Mail,
  OctagonX,
  Pin,
  Play,
  Plus,
  Redo2,
  Repeat,
  Search,
  Settings,
  Split,
  StickyNote,
  Text,
  Trash2,
  TriangleAlert,
  Undo2,
  Upload,
  UserCheck,
  Workflow,
  X,
} from "lucide-react";
import type { ReactElement } from "react";

const NAMED: Record<string, LucideIcon> = {
  bell: Bell,
  bot: Bot,
  braces: Braces,
  clock: Clock,
  code: Code,
  globe: Globe,
  list: List,
  mail: Mail,
  "octagon-x": OctagonX,
  repeat: Repeat,
  split: Split,
  text: Text,
  "user-check": UserCheck,
  workflow: Workflow,
};

/** A node type's icon; a box for types of plugins whose icon is not known here. */
export function TypeIcon({ name }: { name: string | undefined }): ReactElement {
  const Icon = NAMED[name ?? ""] ?? Box;
  return <Icon size={18} aria-hidden="true" />;
}

export {
  AlignHorizontalJustifyCenter,
  AlignVerticalJustifyCenter,
  Braces,
  Copy,
  History,
  Keyboard,
  LayoutGrid,
  ListChecks,
  Pin,
  Play,
  Plus,
  Redo2,
  Search,
  Settings,
  StickyNote,
  Trash2,
  TriangleAlert,
  Undo2,
  Upload,
  X,
};
