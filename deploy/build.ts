/**
 * `make build`: the whole program as one file, `dist/weft.js`, with koffi's native addon and packed packages beside it.
 *
 * The bundle is its own worker entry: `proxy/main.ts` starts data threads from its own path (`import.meta.filename`, in
 * the bundle that of the bundle) and loads the control or the data side by `isMainThread`. It is CommonJS, because only
 * there does the version check of main.ts run before the first builtin that an older Node lacks is asked for.
 */
import { copyFile, mkdir, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { brotliCompressSync } from 'node:zlib';
import { type BuildOptions, build, type Plugin } from 'esbuild';

const root = join(import.meta.dirname, '..');

/** Every Node that parses this prints the sentence about its age instead of a syntax error. */
const OLDEST_SYNTAX = 'node20';

/** Of every file that goes in. Names stay as they are written: stack traces of the field must read. */
const OPTIONS = {
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: OLDEST_SYNTAX,
  minifyWhitespace: true,
  minifySyntax: true,
  legalComments: 'none',
  logLevel: 'warning',
} as const satisfies BuildOptions;

/**
 * Packages that few sidecars need, all loaded by `import()` at first use. They lie beside the bundle, compressed: each
 * thread keeps the text of the whole file (4 MB of text cost 14 MB resident in two threads).
 */
const PACKED: readonly string[] = ['@opentelemetry/sdk-node', 'node-forge', 're2js', 'undici', 'yaml'];
/** Keeps its state in the module, so the packed packages and the rest have to share one copy. */
const SHARED = '@opentelemetry/api';

/** Writes each of them into `folder` as a file of its own. */
function packedInto(folder: string): Plugin {
  return {
    name: 'packed',
    setup(bundler) {
      bundler.onResolve({ filter: exactly(PACKED) }, ({ path }) => ({ path, namespace: 'packed' }));
      bundler.onLoad({ filter: /.*/, namespace: 'packed' }, async ({ path }) => {
        const file = `${path.replace(/^@/, '').replace('/', '-')}.br`;
        await writeFile(join(folder, file), brotliCompressSync(await bundlePackage(path)));
        return { contents: unpacking(path, file), resolveDir: root };
      });
    },
  };
}

/** One package and what it needs, as the text of a CommonJS module. */
async function bundlePackage(name: string): Promise<string> {
  const { outputFiles } = await build({
    ...OPTIONS,
    stdin: { contents: `module.exports = require('${name}');`, resolveDir: root },
    external: [SHARED],
    write: false,
  });
  const [file] = outputFiles;
  if (file === undefined) throw new Error(`esbuild wrote nothing for ${name}`);
  return file.text;
}

/** The module that stands in for the package: evaluates its text when it is first asked for. */
function unpacking(name: string, file: string): string {
  return `
    const { compileFunction, constants } = require('node:vm');
    const { brotliDecompressSync } = require('node:zlib');
    const text = brotliDecompressSync(require('node:fs').readFileSync(__dirname + '/${file}'));
    const load = compileFunction(text.toString(), ['module', 'exports', 'require', '__filename', '__dirname'], {
      filename: __filename + '/${name}',
      importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    });
    const sharing = (name) => (name === '${SHARED}' ? require('${SHARED}') : require(name));
    load(module, exports, sharing, __filename, __dirname);`;
}

/** zod brings its messages in fifty languages; weft words its own (proxy/config/wording.ts). */
const englishOnly: Plugin = {
  name: 'english-only',
  setup(bundler) {
    bundler.onResolve({ filter: /\/locales\/index\.(js|cjs)$/ }, ({ path, resolveDir }) =>
      /node_modules.zod/.test(resolveDir) ? { path: join(resolveDir, path, '../en.js') } : undefined,
    );
  },
};

function exactly(names: readonly string[]): RegExp {
  return new RegExp(`^(${names.map((name) => RegExp.escape(name)).join('|')})$`);
}

/** koffi finds its addon by searching the disk; in the bundle it is one known file. Built for this machine's kind. */
const koffiBeside: Plugin = {
  name: 'koffi-beside',
  setup(bundler) {
    const own = `@koromix/koffi-${process.platform}-${process.arch}`;
    bundler.onResolve({ filter: /^koffi$/ }, () => ({ path: join(root, 'node_modules/koffi/index.cjs') }));
    bundler.onResolve({ filter: /^@koromix\/koffi-/ }, ({ path }) =>
      path === own ? { path, namespace: 'addon' } : { path, external: true },
    );
    bundler.onLoad({ filter: /.*/, namespace: 'addon' }, () => ({
      contents: `module.exports = require(__dirname + '/koffi.node');`,
    }));
  },
};

/** Writes `weft.js`, all that lies beside it and the `package.json` that says how to read it into `folder`, which it empties. */
export async function buildBundle(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await build({
    ...OPTIONS,
    entryPoints: [join(root, 'proxy/main.ts')],
    outfile: join(folder, 'weft.js'),
    plugins: [koffiBeside, packedInto(folder), englishOnly],
    banner: { js: `const bundleUrl=require('node:url').pathToFileURL(__filename).href;` },
    define: {
      'import.meta.url': 'bundleUrl',
      'import.meta.filename': '__filename',
      'import.meta.dirname': '__dirname',
    },
  });
  await copyFile(addonPath(), join(folder, 'koffi.node'));
  await writeFile(join(folder, 'package.json'), '{ "type": "commonjs" }\n');
}

function addonPath(): string {
  const koffi = createRequire(join(root, 'node_modules/koffi/package.json'));
  const loader = koffi.resolve(`@koromix/koffi-${process.platform}-${process.arch}`);
  return join(dirname(loader), `${process.platform}_${process.arch}`, 'koffi.node');
}

if (import.meta.main) {
  await buildBundle(join(root, 'dist'));
  console.log('build: dist/weft.js');
}
