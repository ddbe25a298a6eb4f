import { defineConfig, type ViteUserConfig } from 'vitest/config';

// Two workers: the machines this runs on have two cores, and the tests that start real processes need one of them.
const config: ViteUserConfig = defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    // Long enough for a machine that stands still for seconds: only a test that would never end reaches them.
    testTimeout: 60_000,
    hookTimeout: 90_000,
    reporters: ['default', './test/support/skips.ts'],
  },
});
export default config;
