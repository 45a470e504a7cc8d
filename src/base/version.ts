/** Of this library; a test holds it to package.json's, which no page can read. */
export const VERSION = "0.1.0";
