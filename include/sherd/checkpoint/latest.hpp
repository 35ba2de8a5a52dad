#pragma once
// What a run goes on from after a crash.
#include <functional>
#include <optional>
#include <string>

#include "sherd/checkpoint/store.hpp"

namespace sherd::checkpoint {

/// The newest checkpoint in `root` of which every byte is as it was written; `passed` hears of each
/// newer one, and why.
///
/// **Errors** DataError when the folder cannot be read.
[[nodiscard]] std::optional<Found> find_latest(
    io::Storage& storage, const std::string& root,
    const std::function<void(const Found&, const std::string& why)>& passed);

}  // namespace sherd::checkpoint
