#pragma once
// The search behind `sherd plan --search` and `sherd train --fit`.
#include <optional>
#include <string>

#include "sherd/launch/search.hpp"

namespace sherd::cli {

/// The machine a plan is simulated on: by name, from a file, or what fits the run's devices when
/// `name` is empty.
///
/// **Errors** ConfigError for a name that is neither; DataError for the file's content.
[[nodiscard]] plan::Machine machine_given(const std::string& name, const launch::Validated& run);

/// Under the run's own limits, with the flags of this process as what was given.
[[nodiscard]] launch::SearchOptions own_search(const launch::Validated& run,
                                               const plan::Machine& machine);

/// The fastest configuration that fits; nothing if none of those planned does.
[[nodiscard]] std::optional<launch::Candidate> fitted(const launch::Validated& run,
                                                      const launch::Job& job);

[[nodiscard]] std::string search_text(const launch::SearchResult& result,
                                      const launch::SearchOptions& options);
[[nodiscard]] std::string search_json(const launch::SearchResult& result,
                                      const launch::SearchOptions& options);

}  // namespace sherd::cli
