enable f16;

// Four weights of a convolution, as they are in memory: half the bytes, 11 bits of each.
alias Weight = vec4h;
