#pragma once
// Rows of numbers from a text file.
#include <cstdint>
#include <memory>
#include <string>

#include "sherd/data/source.hpp"

namespace sherd::data {

/// Opens comma-separated numbers: the last `label_columns` of each line are labels, the others
/// inputs. A first line that is no row of numbers is a header; blank lines are skipped.
///
/// **Shapes** inputs fp32 [1, columns − label_columns], labels fp32 [1, label_columns].
/// **Memory** 8 bytes a row; rows are parsed when they are read.
/// **Errors** DataError with the line number: another count of columns, something that is not a
/// finite number, a line above 1 MiB.
[[nodiscard]] std::unique_ptr<Source> csv(const std::string& path, std::int64_t label_columns);

}  // namespace sherd::data
