#pragma once
// Rows that train: what a step costs and what it holds.
#include <array>
#include <functional>
#include <string_view>
#include <vector>

#include "sherd/bench/child_run.hpp"
#include "sherd/bench/rows.hpp"

namespace sherd::bench {

/// Called before something that takes a while, with what it is.
using Say = std::function<void(std::string_view)>;

/// What `step` measures, in this order.
inline constexpr std::array<std::string_view, 7> step_parts{
    "resident", "ranks", "offload", "save", "llama", "generate", "start"};

/// A part of: GPT-2 124M steps in fp32 and bf16 in this process, at stages 0 and 3 as two ranks in
/// processes of their own, and with the optimizer on the host; what a save holds it up,
/// against copying as many bytes; steps of Qwen2.5 0.5B in fp32;
/// tokens of GPT-2 124M; and GPT-2 tiny from the start of a process to its first step. Steps are
/// against the library's own products of the same sizes; quick: GPT-2 tiny alone.
///
/// `wrong` counts losses that are not finite, and stages whose parameters differ.
[[nodiscard]] std::vector<Row> step(std::string_view part, const BenchOptions& options,
                                    const Children& children, const Say& say);

/// One token behind sixteen, in fp32 from keys and values so far, against reading the weights
/// that take part once; quick: GPT-2 tiny, whose weights stay in a cache.
///
/// `wrong` counts logits that differ from those of the whole sequence at once by more than 1e-3.
[[nodiscard]] Row generate(const BenchOptions& options, const Say& say);

/// Bytes a rank holds by stage, world and precision: planned, by the closed form and, where `ranks`
/// really ran, measured. The rate is of planning, the bound what the plan keeps between steps.
///
/// `wrong` counts plans above the closed form, ledgers that differ from the plan, and processes
/// larger than plan and reserve by more than 16 MiB and 1 %.
[[nodiscard]] std::vector<Row> memory(const BenchOptions& options, const Children& children,
                                      const Say& say);

}  // namespace sherd::bench
