#pragma once
#include <string>
#include <vector>

namespace sherd::cli {

/// The command line of this process, the program's name first.
[[nodiscard]] std::vector<std::string> own_arguments();

/// Its environment, "NAME=value" each.
[[nodiscard]] std::vector<std::string> own_environment();

}  // namespace sherd::cli
