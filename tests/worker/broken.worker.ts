/** A worker whose script fails as soon as it runs. */
throw new Error("broken on purpose");
