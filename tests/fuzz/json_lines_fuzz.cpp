// One line of a JSON lines file.
#include "data/text_record.hpp"
#include "fuzz/json_change.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::fuzz {

bool accepts(const std::string& input) {
  data::TextRecord record;
  try {
    record = data::parse_record(input, "lines.jsonl: line 1");
  } catch (const DataError& error) {
    promised(std::string_view(error.what()).starts_with("lines.jsonl: line 1"),
             "the line is named");
    return false;
  }
  const Tree tree = Tree::parse(input);
  promised(tree.is_object(), "a record is an object");
  const bool example = record.kind == data::RecordKind::example;
  promised(example == !tree.contains("text") && example == tree.contains("prompt") &&
               example == tree.contains("response"),
           "a record is a document or an example");
  promised(tree[example ? "response" : "text"] == record.text, "the text is as it stands");
  promised(example ? tree["prompt"] == record.prompt : record.prompt.empty(),
           "the prompt is as it stands");
  return true;
}

std::string seed(Random& random) {
  Tree tree = random.one_in(2) ? Tree{{"text", "One\nline: \u00e4\u65e5 \"quoted\""}}
                               : Tree{{"prompt", "Why?"}, {"response", "Because."}};
  if (random.one_in(2)) tree["other"] = {{"nested", {1, 2.5, nullptr, true}}};
  return tree.dump(-1, ' ', random.one_in(2));
}

std::string changed(const std::string& input, Random& random, const ChangeBytes& change) {
  return changed_json(input, random, change);
}

}  // namespace sherd::fuzz
