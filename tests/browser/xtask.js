// The command that serves the page: `cargo xtask test` says where it lies, a developer has cargo find it.
export const xtask = process.env.XTASK ? `"${process.env.XTASK}"` : 'cargo xtask';
