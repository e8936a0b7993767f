import "@xyflow/react/dist/base.css";
import "../editor/editor.css";

import { createRoot } from "react-dom/client";

import { RunGraph } from "./RunGraph";

const place = document.getElementById("run-graph");
if (place !== null) createRoot(place).render(<RunGraph run={place.dataset["run"] ?? ""} />);
