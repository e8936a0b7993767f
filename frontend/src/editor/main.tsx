import "@xyflow/react/dist/base.css";
import "./editor.css";

import { createRoot } from "react-dom/client";

import { Editor } from "./Editor";

const place = document.getElementById("editor");
if (place !== null) createRoot(place).render(<Editor name={place.dataset["workflow"] ?? ""} run={place.dataset["run"] ?? null} />);
