"""Others' networks in the decoder's place, through thin adapters. Needs the extra ``baselines``."""
