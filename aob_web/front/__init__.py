"""The process at the public port: takes starts itself, by the shortest way, and passes everything else on to the web."""
