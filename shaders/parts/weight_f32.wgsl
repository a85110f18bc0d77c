// Four weights of a convolution, as they are in memory.
alias Weight = vec4f;
