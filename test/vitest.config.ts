import { defineConfig, type ViteUserConfig } from 'vitest/config';

// Two workers: the machines this runs on have two cores, and the tests that start real processes need one of them.
const config: ViteUserConfig = defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 30_000,
    reporters: ['default', './test/support/skips.ts'],
  },
});
export default config;
