#pragma once
// Which parameters are not trained.
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace sherd::model {

/// Whether a parameter's name matches one of the shell patterns: "embed.wte", "layer0.*", where a
/// star stands for any part, dots too. Nothing where there is no pattern.
[[nodiscard]] std::function<bool(std::string_view)> frozen_by(std::vector<std::string> patterns);

}  // namespace sherd::model
