import { posix } from "node:path";
import ts from "typescript";

/** One module that a source file names, in whatever way. */
export interface Import {
  specifier: string;
  /** Erased by the compiler: `import type`, `export type … from`, `import("…").T`. */
  typeOnly: boolean;
  line: number;
}

function literal(node: ts.Node | undefined): string | undefined {
  return node !== undefined && ts.isStringLiteralLike(node) ? node.text : undefined;
}

/** `new URL("./x.ts", import.meta.url)`: how a worker's file is named. */
function workerFile(node: ts.Node): string | undefined {
  if (!ts.isNewExpression(node) || node.expression.getText() !== "URL") return undefined;
  const [path, base] = node.arguments ?? [];
  return base?.getText() === "import.meta.url" ? literal(path) : undefined;
}

/**
 * With verbatimModuleSyntax `import { type T }` still loads the module, so it is not type-only; `import type` is.
 */
function readNode(node: ts.Node): Omit<Import, "line"> | undefined {
  const of = (specifier: string | undefined, typeOnly: boolean) =>
    specifier === undefined ? undefined : { specifier, typeOnly };
  if (ts.isImportDeclaration(node)) {
    return of(literal(node.moduleSpecifier), node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword);
  }
  if (ts.isExportDeclaration(node)) return of(literal(node.moduleSpecifier), node.isTypeOnly);
  if (ts.isImportTypeNode(node)) {
    return of(ts.isLiteralTypeNode(node.argument) ? literal(node.argument.literal) : undefined, true);
  }
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
    return of(literal(node.arguments[0]), false);
  }
  return of(workerFile(node), false);
}

/** A source file, read once: what it imports, every identifier in it, and whether it holds re-exports and nothing else. */
export interface SourceFile {
  imports: Import[];
  identifiers: Set<string>;
  reexportsOnly: boolean;
}

export function readSource(path: string, text: string): SourceFile {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const result: SourceFile = {
    imports: [],
    identifiers: new Set(),
    reexportsOnly: source.statements.every((s) => ts.isExportDeclaration(s) && s.moduleSpecifier !== undefined),
  };
  const visit = (node: ts.Node): void => {
    const found = readNode(node);
    if (found) result.imports.push({ ...found, line: source.getLineAndCharacterOfPosition(node.getStart()).line + 1 });
    if (ts.isIdentifier(node) || ts.isStringLiteral(node)) result.identifiers.add(node.text);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return result;
}

/** The repository path that a relative specifier names, without a query such as "?raw"; null for a package. */
export function resolveImport(from: string, specifier: string): string | null {
  if (!specifier.startsWith(".")) return null;
  return posix.normalize(posix.join(posix.dirname(from), specifier.replace(/\?.*$/, "")));
}
