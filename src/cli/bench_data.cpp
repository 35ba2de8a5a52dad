#include "cli/bench_data.hpp"

#include <algorithm>
#include <span>
#include <string>

#include "sherd/base/errors.hpp"
#include "sherd/bench/data.hpp"
#include "sherd/io/file.hpp"

namespace sherd::cli {

std::vector<sherd::bench::Row> data_rows(const BenchOutput& output,
                                         const sherd::bench::BenchOptions& options) {
  std::vector<std::string> problems;
  if (output.tokenizer.empty()) problems.emplace_back("--tokenizer: bench data needs one");
  if (output.text.empty()) problems.emplace_back("--text: bench data needs a file");
  if (!problems.empty()) throw ConfigError(std::move(problems));
  const data::Tokenizer tokenizer(output.tokenizer);
  const io::File file(output.text);
  if (file.size() == 0) throw DataError(output.text + ": is empty");
  std::string text(std::min<Bytes>(file.size(), 32 * mib), '\0');
  file.pread_exact(0, std::as_writable_bytes(std::span(text)));
  return sherd::bench::data(options, tokenizer, std::move(text));
}

}  // namespace sherd::cli
