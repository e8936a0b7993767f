import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// Names without hashes: Django's static files have their own, and the committed bundle shall differ only where it does.
export default defineConfig({
  plugins: [react()],
  base: "./",
  build: {
    outDir: "dist/frontend",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    cssCodeSplit: false,
    chunkSizeWarningLimit: 2_000,
    rollupOptions: {
      input: { editor: "src/editor/main.tsx", run: "src/run/main.ts" },
      output: {
        entryFileNames: "[name].js",
        chunkFileNames: "[name].js",
        assetFileNames: "[name][extname]",
      },
    },
  },
  test: { include: ["tests/**/*.test.ts"] },
});
