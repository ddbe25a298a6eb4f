import { serve } from './service.ts';

serve(() => ({ warp: 12, weft: 7, shuttle: 3 }));
