#pragma once
// Token files for tests, and one sample read back.
#include <cstdint>
#include <string>
#include <vector>

#include "io/temp_folder.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/data/tokens.hpp"

namespace sherd::test {

using Row = std::vector<std::int32_t>;

struct Sample {
  Row inputs, labels;
};

inline Sample read_sample(const data::Source& source, std::uint64_t index) {
  const std::int64_t columns = source.shape().input_cols;
  Sample sample{Row(static_cast<std::size_t>(columns), 77),
                Row(static_cast<std::size_t>(columns), 77)};
  const auto view = [&](Row& row) {
    return View{reinterpret_cast<std::byte*>(row.data()), {1, columns}, DType::i32};
  };
  source.read(index, view(sample.inputs), view(sample.labels));
  return sample;
}

/// 0, 1, …, count − 1 in the element type asked for.
template <class T>
std::vector<T> count_up(std::size_t count) {
  std::vector<T> values;
  for (std::size_t i = 0; i < count; ++i) values.push_back(static_cast<T>(i));
  return values;
}

/// An llm.c file; the count in the header may lie.
template <class T>
std::string llmc(std::int32_t magic, std::int32_t version, std::int32_t count,
                 const std::vector<T>& tokens) {
  std::vector<std::int32_t> header(256, 0);
  header[0] = magic;
  header[1] = version;
  header[2] = count;
  return bytes_of(header) + bytes_of(tokens);
}

/// What opening `paths` complains about.
inline std::string refusal(const std::vector<std::string>& paths, std::int64_t seq_len = 2,
                           std::int64_t vocab_size = 1000) {
  return message_of<DataError>([&] { (void)data::open_tokens(paths, {seq_len, vocab_size}); });
}

}  // namespace sherd::test
